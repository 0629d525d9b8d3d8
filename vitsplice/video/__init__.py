"""Transfer of an appearance to a video: frames in, frames out, stable in time.

The packages PyAV and OpenCV come with ``pip install 'vitsplice[video]'``.
"""
