"""Transfer of an appearance to a video with little flicker.

Requires PyAV and OpenCV, which the extra ``video`` of vitsplice installs.
"""
