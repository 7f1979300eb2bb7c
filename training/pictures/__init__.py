"""What is learnt from: photographs and images of the data set, converted, disguised, distorted and spoilt."""
