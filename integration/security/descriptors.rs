//! Names that the image chose never lead to a descriptor of the host.
