"""Maps to disk: streamed through an explainer into a Zarr store, chunk by chunk, resumable."""
