//! Inter-frame local attention (ILA).
