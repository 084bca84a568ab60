//! Output tensors of our own operators, used again as soon as nobody else holds them.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

/// Tensors of one output that are kept, at most. Frames on their way to clients, what a plan still holds, and up to ten keyframes come to fewer.
const MOST: usize = 16;

/// The output tensors of one node of a running plan.
///
/// A frame's answer is still on its way to clients while the next frame is computed, so there are as many tensors of an output as were
/// ever held at the same time, and a warm plan allocates none.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<Vec<Arc<Tensor>>>);

impl Kept {
    /// Makes sure that the first tensor of each output is there and ours alone. What is in it is left from an earlier frame.
    pub fn refresh(&mut self, outputs: usize, fact: impl Fn(usize) -> TractResult<TypedFact>) -> TractResult<()> {
        self.0.resize_with(outputs, Vec::new);
        for (index, held) in self.0.iter_mut().enumerate() {
            match held.iter_mut().position(|tensor| Arc::get_mut(tensor).is_some()) {
                Some(free) => held.swap(0, free),
                None => {
                    let fact = fact(index)?;
                    let shape = fact.shape.as_concrete().context("expected a fixed shape")?;
                    held.truncate(MOST - 1);
                    held.insert(0, Arc::new(Tensor::zero_dt(fact.datum_type, shape)?));
                }
            }
        }
        Ok(())
    }

    /// The first tensor of each output, to be written.
    pub fn tensors(&mut self) -> impl Iterator<Item = TractResult<&mut Tensor>> {
        self.0.iter_mut().map(|held| held.first_mut().and_then(Arc::get_mut).context("an output is in use"))
    }

    /// The same for the plan.
    pub fn values(&self) -> TVec<TValue> {
        self.0.iter().filter_map(|held| held.first()).map(|tensor| tensor.clone().into_tvalue()).collect()
    }
}

/// The numbers of a tensor.
pub(crate) fn slice_mut<T: Datum>(tensor: &mut Tensor) -> TractResult<&mut [T]> {
    tensor.to_plain_array_view_mut::<T>()?.into_slice().context("expected a dense tensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(kept: &mut Kept) -> TVec<TValue> {
        kept.refresh(2, |index| Ok(f32::fact([index + 1]))).unwrap();
        kept.values()
    }

    fn address(value: &TValue) -> *const Tensor {
        &**value
    }

    #[test]
    fn a_tensor_is_used_again_once_nobody_holds_it() {
        let mut kept = Kept::default();
        let first = round(&mut kept);
        assert_eq!(first[1].shape(), [2]);
        let second = round(&mut kept);
        assert_ne!(address(&first[0]), address(&second[0]), "the first is still held");
        let place = address(&first[0]);
        drop(first);
        assert_eq!(address(&round(&mut kept)[0]), place);
        assert_eq!(kept.0[0].len(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        let held: Vec<_> = (0..40).map(|_| round(&mut kept)).collect();
        let mut places: Vec<_> = held.iter().map(|values| address(&values[0])).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!((places.len(), kept.0[0].len()), (40, MOST));
    }
}
