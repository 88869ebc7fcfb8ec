"""The pictures: one anywidget a file, paired with the view of the same name in js/views."""
