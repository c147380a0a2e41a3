"""What has changed: two stores, two commits or two methods held against each other, with how sure that is.

May import `bench.running` and what is below it; the page may ask it (`bench.compare.statistics`).
"""
