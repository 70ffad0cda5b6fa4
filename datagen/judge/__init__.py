"""The judge stage: a judge scores what passed the filter."""
