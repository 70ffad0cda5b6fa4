"""From a checkpoint of verl to a model that can be served: what `rl.export` is made of."""
