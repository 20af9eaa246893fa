"""The trained network of polyface, a model directory `model/`, and its face detector, `detector/`. For research only, see LICENSE."""
