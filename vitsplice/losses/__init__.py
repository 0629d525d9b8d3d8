"""Loss terms of presets, and the pure functions of tensors behind them.

`terms` lists the terms, `splice` and `guided` build them, `functional`, `transport` and `regularisers` are the maths.
`vitsplice.loss_modules` has the terms as modules for a training loop.
"""
