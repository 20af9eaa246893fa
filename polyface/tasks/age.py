"""Age in years, as a distribution over 0 to 116; a group of ages is a range."""

from polyface.tasks.kinds import Scale

age = Scale("age", "How old does the person look?", top=116, unit="years")
