"""HTML pages with everything inside, and the pictures on them."""
