"""Race as FairFace's annotators named it, the finest public vocabulary; coarser sets leave several of these possible."""

from polyface.tasks.kinds import Category

race = Category(
    "race",
    "Which of FairFace's seven groups would an annotator name?",
    ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"),
)
