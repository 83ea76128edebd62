"""Optimisers, schedules, averaged weights, and their options. Only `options` is free of torch; import it directly."""
