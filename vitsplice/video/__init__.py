"""Transfer of an appearance to a video: frames in, frames out, stable in time.

The extra ``video`` installs the packages PyAV and OpenCV.
"""
