"""The distribution API as the core sees it; the only package that speaks HTTP."""
