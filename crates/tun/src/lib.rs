//! Packet ports: Linux TUN with segmentation offload, adopted descriptors, channels and pcapng.

