"""Fast paths on tensorflow."""
