"""Human preference studies: a page that shows raters two outputs at a time, and the analysis of their choices."""
