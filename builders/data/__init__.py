"""From files, Hub and recipes to gated, rendered, encoded rows."""
