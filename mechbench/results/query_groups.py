"""Axes that results on groups of two-hop queries share."""

GROUP, ALL = "group", "all"
WHERE, ENTITY, ENTITIES = "where", "entity", ("e1", "e2", "e3")
SOURCE_LAYER, TARGET_LAYER = "source_layer", "target_layer"
