"""Series, tables and the windows that are cut from them."""
