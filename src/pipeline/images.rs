//! Input images that are used again as soon as nobody reads them any more.

use std::sync::Arc;

use tract_onnx::prelude::{Tensor, TractResult};

use crate::model::engine::Image;

/// How many images can be in use at once: one being filled, one and the one that replaces it in the link to the networks,
/// one in the fast network, one nominated and one in the slow network; with their outcomes, one and the one that replaces it
/// in the link to publishing, and one being published.
const IN_USE: usize = 9;

/// A few images of one size. Giving one out allocates nothing, unless a reader keeps more of them than the pipeline does.
#[derive(Debug)]
pub struct Images {
    shape: [usize; 3],
    images: Vec<Image>,
}

impl Images {
    /// For images of `width` × `height`.
    pub fn new(width: usize, height: usize) -> Images {
        let mut images = Images { shape: [height, width, 4], images: Vec::with_capacity(2 * IN_USE) };
        for _ in 0..IN_USE {
            // Where memory is short, the first frame says so.
            let _ = images.add();
        }
        images
    }

    fn add(&mut self) -> TractResult<()> {
        self.images.push(Arc::new(Tensor::zero::<u8>(&self.shape)?));
        Ok(())
    }

    /// Fills an image that nobody reads through `fill`, and gives it out.
    pub fn fill<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Image, ImageError<E>> {
        let free = self.images.iter().position(|image| Arc::strong_count(image) == 1);
        let index = match free {
            Some(index) => index,
            None => {
                self.add().map_err(|error| ImageError::Engine(error.to_string()))?;
                self.images.len() - 1
            }
        };
        let image = &mut self.images[index];
        // Only this pool hands out clones, and its own is the last: nobody can have taken another in between.
        let tensor = Arc::get_mut(image).ok_or_else(|| ImageError::Engine("an image is still read".to_owned()))?;
        let mut view = tensor.try_as_plain_ram_mut().map_err(|error| ImageError::Engine(error.to_string()))?;
        let pixels = view.as_slice_mut::<u8>().map_err(|error| ImageError::Engine(error.to_string()))?;
        fill(pixels).map_err(ImageError::Fill)?;
        Ok(image.clone())
    }
}

/// Why there is no image.
#[derive(Debug)]
pub enum ImageError<E> {
    /// The filling failed.
    Fill(E),
    /// The engine has no tensor to offer.
    Engine(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_used_again_only_when_nobody_reads_it() {
        let mut images = Images::new(4, 2);
        let fill = |value: u8| {
            move |pixels: &mut [u8]| -> Result<(), ()> {
                pixels.fill(value);
                Ok(())
            }
        };
        let first = images.fill(fill(1)).unwrap();
        let second = images.fill(fill(2)).unwrap();
        assert_eq!(first.as_plain_ram().unwrap().as_slice::<u8>().unwrap(), [1; 32]);
        let address = Arc::as_ptr(&first);
        drop(first);
        let third = images.fill(fill(3)).unwrap();
        assert_eq!(Arc::as_ptr(&third), address);
        assert_eq!(second.as_plain_ram().unwrap().as_slice::<u8>().unwrap(), [2; 32]);
        assert_eq!(images.images.len(), IN_USE);
    }

    #[test]
    fn more_readers_than_the_pipeline_has_cost_an_allocation_and_no_frame() {
        let mut images = Images::new(4, 2);
        let fill = |pixels: &mut [u8]| -> Result<(), ()> {
            pixels.fill(1);
            Ok(())
        };
        let held: Vec<_> = (0..IN_USE + 1).map(|_| images.fill(fill).unwrap()).collect();
        assert_eq!(images.images.len(), held.len());
    }
}
