"""Audits: what a boundary drops, in training code of any framework."""
