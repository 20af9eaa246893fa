"""Identity: a vector of unit length; the cosine of two says how alike two faces are."""

from polyface.tasks.kinds import Embedding

identity = Embedding("identity", "Who is it?", dimension=512)
