package aws

// Prices are US dollars for us-east-1, on demand, taken over by hand; other
// regions cost up to a third more, and what is measured by use is left out. They
// are a hint of size in a plan, and are called an estimate wherever they are told.
// Source: https://aws.amazon.com/secrets-manager/pricing/, as of 2025-06.
const secretMonthly = 0.40 // for each secret
