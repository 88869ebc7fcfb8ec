"""nbconvert's exporter for our pictures: `jupyter nbconvert --to mechwidgets_html`."""
