"""What people look at: whether the data is right, and whether a model is any good.

Belongs here: what is measured of images and predictions, what follows from it, and the pages that show it.
Must not: import paddle, train, or change a file of the user's. Nothing here is imported by a training.
"""
