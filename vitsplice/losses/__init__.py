"""The built-in loss terms, and the pure functions of tensors behind them.

`terms` lists the terms; `splice`, `guided`, `contrast` and `grain` build them; `functional`, `transport`,
`neighbourhoods` and `regularisers` are the maths. `vitsplice.loss_modules` has the terms as modules for a training
loop.
"""
