"""The portal's pages. A view fetches what the visitor may see, calls one function, and answers."""
