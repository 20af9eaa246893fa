"""Gender as it looks: what the data sets' annotators saw in a picture, which is not how a person lives."""

from polyface.tasks.kinds import Category

gender = Category("gender", "Man or woman, as an annotator would say?", ("male", "female"))
