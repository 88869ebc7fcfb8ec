"""Questions to a model; each answers with labelled arrays. Knows nothing of pictures."""
