"""Policy: from the file to frozen rules, and from a rule to a verdict. Pure; reads no clock and
opens nothing but the file it is given."""
