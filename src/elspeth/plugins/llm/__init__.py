"""Transforms that ask a language model: their options, prompts, wire format and provider adapters."""
