"""Evaluation of one or more methods by metrics, over the pairs of a manifest: `vitsplice evaluate`."""
