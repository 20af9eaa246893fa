"""The 68 points of iBUG's 300-W; five points derive from them (`images/geometry.py`, `five_of_68`)."""

from polyface.tasks.kinds import Points

landmarks = Points("landmarks", "Where are the 68 points?")
