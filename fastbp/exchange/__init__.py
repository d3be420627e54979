"""Networks of other libraries read, and fastbp's written for them: PyTorch, scikit-learn, ONNX.

`fastbp.Sequential` has the methods (`methods.py`). Each library has one door here, and is imported when it is used.
"""
