"""Expression: AffectNet's eight words. A set without contempt can neither affirm nor deny it."""

from polyface.tasks.kinds import Category

expression = Category(
    "expression",
    "Which of eight expressions does the face show?",
    ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
)
