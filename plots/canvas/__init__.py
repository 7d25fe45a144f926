"""What every chart is made with: style, sheet, series, labels, legend, caption, panels."""
