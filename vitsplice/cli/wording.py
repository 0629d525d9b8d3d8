"""What several commands say alike in their help."""

PICTURE = "PNG, JPEG, WebP, TIFF or BMP."
