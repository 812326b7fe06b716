//! What was mounted is what is masked: /proc, /sys, /dev and their like, in the image's hands.
