"""A labelled corpus: secrets and personal data in the places where they occur, and look-alikes."""
