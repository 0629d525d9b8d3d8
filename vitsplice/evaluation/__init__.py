"""Metrics over sets of pairs, for one or more methods: `vitsplice evaluate`."""
