"""What is measured: cases and profiles, data, users' models, methods, options, and the bound of a cell.

May import `reference` and `impls`.
"""
