"""Our certificate authority: what stands for an upstream where its TLS ends here."""
