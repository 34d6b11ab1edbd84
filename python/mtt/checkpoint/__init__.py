"""The checkpoint: one safetensors file with a typed header; reading, writing, versions, upgrades."""
