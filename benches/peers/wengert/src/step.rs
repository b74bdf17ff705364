//! What is done with a loss: an optimizer's step, a gradient, a product with the Hessian.

use bed::{Init, Job};
use wengert::{
    Array, DType, Tape, Tensor, Tree,
    nn::{Adam, AdamState, Bind, Sgd, SgdState, grads},
};

/// Records a loss of tensors on their tape.
pub type Loss = Box<dyn for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t>>;

/// The array of a description.
pub fn array(init: &Init) -> Array {
    let mut a = Array::zeros(DType::F32, &init.shape[..]);
    a.as_mut_slice::<f32>().iter_mut().zip(init.values()).for_each(|(to, v)| *to = v as f32);
    a
}

pub fn arrays(inits: Vec<Init>) -> Vec<Array> {
    inits.iter().map(array).collect()
}

struct SgdJob {
    model: Vec<Array>,
    state: SgdState<Vec<Array>>,
    loss: Loss,
}

pub fn sgd(model: Vec<Init>, loss: Loss) -> Box<dyn Job> {
    let model = arrays(model);
    Box::new(SgdJob { state: Sgd::new(0.01).init(&model), model, loss })
}

impl Job for SgdJob {
    fn step(&mut self) -> f64 {
        let tape = Tape::new();
        let (m, s) = (self.model.on(&tape), self.state.on(&tape));
        let loss = (self.loss)(&tape, &m);
        let next = Sgd::new(0.01).step(&m, &grads(loss, &m), &s);
        tape.eval_and_update(&loss, (&mut self.model, &mut self.state), next).item()
    }
}

struct AdamJob {
    model: Vec<Array>,
    state: AdamState<Vec<Array>>,
    loss: Loss,
}

pub fn adam(model: Vec<Init>, loss: Loss) -> Box<dyn Job> {
    let model = arrays(model);
    Box::new(AdamJob { state: Adam::new(1e-4).init(&model), model, loss })
}

impl Job for AdamJob {
    fn step(&mut self) -> f64 {
        let tape = Tape::new();
        let (m, s) = (self.model.on(&tape), self.state.on(&tape));
        let loss = (self.loss)(&tape, &m);
        let next = Adam::new(1e-4).step(&m, &grads(loss, &m), &s);
        tape.eval_and_update(&loss, (&mut self.model, &mut self.state), next).item()
    }
}

struct GradientJob {
    inputs: Vec<Array>,
    gradients: Vec<Array>,
    loss: Loss,
}

pub fn gradient(inputs: Vec<Array>, loss: impl for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t> + 'static) -> Box<dyn Job> {
    Box::new(GradientJob { inputs, gradients: vec![], loss: Box::new(loss) })
}

impl Job for GradientJob {
    fn step(&mut self) -> f64 {
        self.gradients.clear();
        let tape = Tape::new();
        let x = self.inputs.on(&tape);
        let loss = (self.loss)(&tape, &x);
        let (loss, gradients) = tape.eval(&(loss, loss.grad(&x)));
        self.gradients = gradients;
        loss.item()
    }

    fn check(&self) -> Option<f64> {
        // Summed where they lie: a copy in f64 would count as memory of the step.
        Some(self.gradients.iter().map(absolute_sum).sum())
    }
}

fn absolute_sum(a: &Array) -> f64 {
    match a.dtype() {
        DType::F64 => a.as_slice::<f64>().iter().map(|v| v.abs()).sum(),
        _ => a.as_slice::<f32>().iter().map(|&v| f64::from(v).abs()).sum(),
    }
}

struct ValueJob {
    inputs: Vec<Array>,
    loss: Loss,
}

pub fn value(inputs: Vec<Array>, loss: impl for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t> + 'static) -> Box<dyn Job> {
    Box::new(ValueJob { inputs, loss: Box::new(loss) })
}

impl Job for ValueJob {
    fn step(&mut self) -> f64 {
        let tape = Tape::new();
        (self.loss)(&tape, &self.inputs.on(&tape)).item()
    }
}

struct HvpJob {
    model: Vec<Array>,
    directions: Vec<Array>,
    products: Vec<Array>,
    loss: Loss,
}

pub fn hvp(model: Vec<Init>, directions: Vec<Init>, loss: Loss) -> Box<dyn Job> {
    Box::new(HvpJob { model: arrays(model), directions: arrays(directions), products: vec![], loss })
}

impl Job for HvpJob {
    fn step(&mut self) -> f64 {
        self.products.clear();
        let tape = Tape::new();
        let m = self.model.on(&tape);
        let v = self.directions.map_with(|_, _, v| tape.constant(v));
        let loss = (self.loss)(&tape, &m);
        let (loss, products) = tape.eval(&(loss, loss.hvp(&m, &v)));
        self.products = products;
        loss.item()
    }

    fn check(&self) -> Option<f64> {
        let pairs = self.directions.iter().zip(&self.products).flat_map(|(v, p)| v.to_f64_vec().into_iter().zip(p.to_f64_vec()));
        Some(pairs.map(|(v, p)| v * p).sum())
    }
}
