"""What several rooms share: options, points of an image, filters, files, provenance."""
