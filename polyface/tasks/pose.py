"""Head pose in degrees. Yaw > 0: the nose points to the image's right; pitch > 0: up; roll > 0: the head leans clockwise as seen."""

from polyface.tasks.kinds import Angles

pose = Angles("pose", "Which way does the head point?")
