"""Everything offline that makes a model write better profiles."""
